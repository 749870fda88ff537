/**
 * The board's page, made to fit the house: nothing is fetched from elsewhere (the package's page asks Google for its
 * fonts), and our own style sheet is added.
 */
export function adaptPage(html: string): string {
  return html
    .replace(/<link[^>]*href="https?:\/\/[^"]*"[^>]*>/g, '')
    .replace('</head>', '<link href="jobferry.css" rel="stylesheet"></head>');
}

/**
 * Beside readable links and long texts that wrap: buttons for what the board refuses (action-policy.ts) are not
 * offered. The package has no option for that, so they are known by their icons, and by the queue and tab that are open;
 * where a new version draws them otherwise they are back, and refuse.
 */
export const boardStyles = `
[role="tree"], ol li, ol li * { overflow-wrap: anywhere; word-break: normal; }
a[target="_blank"][href^="/queue/"] { color: var(--primary); text-decoration: underline; text-underline-offset: 3px; font-size: 0.85em; }
li:has(> span > button > :is(svg.lucide-files, svg.lucide-pencil, svg.lucide-clock)), [role="menuitem"]:has(svg.lucide-plus, svg.lucide-trash-2, svg.lucide-ban) { display: none; }
body:has(#root a[aria-current="page"]:is([href*=".submit"], [href*=".poll"])) :is(button, li > span > button):has(> svg.lucide-trash-2),
body:not(:has(#root a[aria-current="page"][href*="status=completed"])) :is(button, li > span > button):has(> svg.lucide-trash-2) { display: none; }
`;

/** What is shown while Redis is away; the page asks again by itself. */
export const redisAwayPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="3"><title>Jobferry: Redis is away</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1rem;color:#24303c;background:#f6f7f9}
@media (prefers-color-scheme:dark){body{color:#d5dbe3;background:#151a21}}</style></head>
<body><h1>Redis does not answer</h1>
<p>The board can not show anything until it does. Submissions are not lost by this: they are in Redis, and workers go on when it is back.</p>
<p>This page tries again every three seconds.</p></body></html>
`;
