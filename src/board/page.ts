/**
 * The board's page. It fetches nothing from other hosts (the package's page loads fonts from Google), and adds our style
 * sheet.
 */
export function adaptPage(html: string): string {
  return html
    .replace(/<link[^>]*href="https?:\/\/[^"]*"[^>]*>/g, '')
    .replace('</head>', '<link href="jobferry.css" rel="stylesheet"></head>');
}

/**
 * Readable links, wrapped long texts, and no buttons for actions that the board refuses (action-policy.ts). The package
 * has no option for that, so the buttons are identified by their icons, and by the open queue and tab. If a new version
 * draws them differently they reappear, and the actions are still refused.
 */
export const boardStyles = `
[role="tree"], ol li, ol li * { overflow-wrap: anywhere; word-break: normal; }
a[target="_blank"][href^="/queue/"] { color: var(--primary); text-decoration: underline; text-underline-offset: 3px; font-size: 0.85em; }
li:has(> span > button > :is(svg.lucide-files, svg.lucide-pencil, svg.lucide-clock)), [role="menuitem"]:has(svg.lucide-plus, svg.lucide-trash-2, svg.lucide-ban) { display: none; }
body:has(#root a[aria-current="page"]:is([href*=".submit"], [href*=".poll"])) :is(button, li > span > button):has(> svg.lucide-trash-2),
body:not(:has(#root a[aria-current="page"][href*="status=completed"])) :is(button, li > span > button):has(> svg.lucide-trash-2) { display: none; }
`;

/** The page while Redis is unreachable; it reloads by itself. */
export const redisAwayPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="3"><title>Jobferry: Redis is away</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1rem;color:#24303c;background:#f6f7f9}
@media (prefers-color-scheme:dark){body{color:#d5dbe3;background:#151a21}}</style></head>
<body><h1>Redis does not answer</h1>
<p>Until it does, the board cannot show anything. No submission is lost: they are in Redis, and workers continue when it is back.</p>
<p>This page reloads every three seconds.</p></body></html>
`;
