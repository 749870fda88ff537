import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { proseOfMarkdown, proseOfSource, type Prose } from '../helpers/prose.ts';

/** What is covered. Add a page or a room once it is clean; the aim is all of `docs` and `src`. */
const pages = [
  'CONTRIBUTING.md',
  'README.md',
  'SECURITY.md',
  'docs/README.md',
  'docs/adding-a-vendor.md',
  'docs/architecture.md',
  'docs/decisions/0001-record-in-fields-of-the-job.md',
  'docs/decisions/0002-submit-job-removed-at-the-hand-over.md',
  'docs/decisions/0003-poll-worker-submits-later-stages.md',
  'docs/decisions/0004-throttle-per-account-and-scope.md',
  'docs/decisions/0005-no-retries-in-the-http-client.md',
  'docs/decisions/0006-sandbox-shares-no-code.md',
  'docs/decisions/README.md',
  'docs/dependencies.md',
  'docs/errors.md',
  'docs/failure-modes.md',
  'docs/fire-test.md',
  'docs/glossary.md',
  'docs/performance.md',
  'docs/security.md',
  'docs/state-machine.md',
  'docs/vendors/fini.md',
  'docs/vendors/knowhere.md',
  'docs/vendors/sharely.md',
  'sandbox/README.md',
  'sandbox/fini/README.md',
  'sandbox/knowhere/README.md',
  'sandbox/sharely/README.md',
];
const rooms = ['config', 'consumers', 'ports', 'producers'];

interface BannedForm {
  form: RegExp;
  instead: string;
  reason: string;
  caught: string;
  plain: string;
}

const banned: readonly BannedForm[] = [
  {
    form: /\bcan not\b/i,
    instead: 'cannot',
    reason: 'It is one word.',
    caught: 'The queue can not be read.',
    plain: 'The queue cannot be read.',
  },
  {
    form: /\b(?:nobody|somebody|anybody|everybody|whoever)\b/i,
    instead: 'name the actor: no worker, a person, every client, the worker that owns the job',
    reason: 'The reader cannot tell who is meant.',
    caught: 'Nobody waits for the answer.',
    plain: 'No worker waits for the answer.',
  },
  {
    form: /\b(?:told|untold)\b/i,
    instead: 'reported, logged, informed, delivered; "cannot be determined"',
    reason: 'It hides which channel carries the message.',
    caught: 'The producer is told at once.',
    plain: 'The producer gets the error at once.',
  },
  {
    form: /\bbeside\b/i,
    instead: 'next to, in addition to, other than',
    reason: 'It means a place, and is used for much else.',
    caught: 'An event beside the outcome.',
    plain: 'Besides the outcome there is an event.',
  },
  {
    form: /\bof (?:its|their|our|your|one['’]s) own\b(?!\s+(?!(?:and|as|at|but|by|for|from|in|on|or|so|that|to|when|where|which|with)\b)[a-z])/i,
    instead: 'a separate X, its own X; "one of our own errors" is fine',
    reason: 'The short form is clearer: "a separate process", "its own process".',
    caught: 'The vendor runs in a process of its own.',
    plain: 'The vendor runs in its own process and throws one of our own errors.',
  },
  {
    form: /\b(?<!\bthere )(?:is|are|was|were) no (?!longer\b|more than\b|less than\b|later than\b|matter\b)[a-z]/i,
    instead: 'is not a X, is not X; "there is no X" is fine',
    reason: 'Negating the noun reads as translated.',
    caught: 'A refusal is no failure.',
    plain: 'There is no failure, and the job is no longer held.',
  },
  {
    form: /\bfor ever\b/i,
    instead: 'forever',
    reason: 'It is one word.',
    caught: 'They wait for ever.',
    plain: 'They wait forever.',
  },
  {
    form: /\banew\b/i,
    instead: 'again',
    reason: 'It is literary.',
    caught: 'The process is started anew.',
    plain: 'The process is started again.',
  },
  {
    form: /\bfor good\b/i,
    instead: 'permanently',
    reason: 'It can be read as "for a good purpose".',
    caught: 'The vendor refused it for good.',
    plain: 'The vendor refused it permanently.',
  },
  {
    form: /\bat will\b/i,
    instead: 'any number of times, repeatable',
    reason: 'It does not say that a repeat is safe.',
    caught: 'It may run again at will.',
    plain: 'It is repeatable. What comes of that will show.',
  },
  {
    form: /\b(?:not|n['’]t|nothing|no [a-z]+)\b[^.]{0,60}\bany more\b(?! than)/i,
    instead: 'no longer',
    reason: 'The negation comes too late in the sentence.',
    caught: 'The vendor does not know the job any more.',
    plain: 'The vendor no longer knows the job.',
  },
];

function findBanned(where: string, prose: readonly Prose[]): string[] {
  return prose.flatMap(({ line, text }) =>
    banned.flatMap(({ form, instead }) => {
      const hit = form.exec(text);
      if (hit === null) return [];
      const at = line + text.slice(0, hit.index).split('\n').length - 1;
      return [`${where}:${at} says "${hit[0]}"; write: ${instead}`];
    }),
  );
}

const read = (file: string): string => readFileSync(file, 'utf8');

describe('plain English', () => {
  it.each(pages)('%s', (page) => {
    expect(findBanned(page, proseOfMarkdown(read(page)))).toEqual([]);
  });

  it.each(rooms)('src/%s, in comments and texts', (room) => {
    const files = readdirSync(`src/${room}`, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => `src/${room}/${file}`)
      .sort();
    expect(files).not.toEqual([]);
    expect(files.flatMap((file) => findBanned(file, proseOfSource(read(file))))).toEqual([]);
  });

  it.each(banned)('finds "$caught"', ({ caught, plain }) => {
    expect(findBanned('page.md', proseOfMarkdown(`# Title\n\n${caught}`))).toHaveLength(1);
    expect(findBanned('page.md', proseOfMarkdown(plain))).toEqual([]);
  });

  it('reads the comments and texts of a source file, and not its code', () => {
    const source = [
      '/** Nobody waits. */',
      'const whoever = 1; // it can not be read',
      'log(`is told ${whoever} beside the ${one}`, "for ever");',
      '/* a fence:',
      ' * `nobody` calls it anew',
      ' */',
      'const expression = /nobody/;',
    ].join('\n');
    const found = findBanned('a.ts', proseOfSource(source)).map((one) => one.split(';')[0]);
    expect(found).toEqual([
      'a.ts:1 says "Nobody"',
      'a.ts:2 says "can not"',
      'a.ts:3 says "told"',
      'a.ts:3 says "beside"',
      'a.ts:3 says "for ever"',
      'a.ts:5 says "anew"',
    ]);
  });

  it('leaves out code, quotations, addresses and names of tests on a page', () => {
    const page = [
      '```sh',
      'echo nobody',
      '```',
      'The option `nobody`, "can not be asked", and [a link](nobody.md) (gate: blames nobody for it).',
      '| What | Test |',
      '|---|---|',
      '| it fails | nobody asks |',
      '',
      '| What | Else |',
      '|---|---|',
      '| it fails | nobody asks |',
    ].join('\n');
    expect(findBanned('a.md', proseOfMarkdown(page)).map((one) => one.split(';')[0])).toEqual([
      'a.md:11 says "nobody"',
    ]);
  });
});
