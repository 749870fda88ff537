import type { Fault, Route, Where } from '../double.ts';
import type { Reply } from './reply.ts';
import { refusals } from './send.ts';

/** Where in a status reply the rows are, and what they are called. */
export interface StatusReply {
  route: Route;
  /** The field that holds the rows; '' where the reply itself is the list. Left out, the reply is the one row. */
  rows?: string;
  /** The field with the vendor job's id. */
  id: string;
  /** The field with the status word. */
  word: string;
  /** The field that says why a job ended badly, where there is one. */
  error?: string;
}

type Row = Record<string, unknown>;

/** The status reply as the striking faults leave it. */
export function disturbRows(
  reply: Reply,
  form: StatusReply | undefined,
  strikes: readonly { fault: Fault; where: Where }[],
): Reply {
  if (form === undefined || (reply.status ?? 200) > 299) return reply;
  const body = reply.json as Row;
  const field = form.rows;
  const isSingle = field === undefined;
  const listed = field === undefined ? [body] : field === '' ? (body as unknown as Row[]) : (body[field] as Row[]);
  let rows = listed.map((row) => ({ ...row }));
  let disturbed: Reply | undefined;
  for (const { fault, where } of strikes) {
    switch (fault) {
      case 'ends-as':
        for (const row of rows)
          if (where.job === undefined || row[form.id] === where.job) row[form.word] = where.argument;
        break;
      case 'unknown-status':
        for (const row of rows) row[form.word] = 'word-of-no-documentation';
        break;
      case 'odd-word':
        for (const row of rows) row[form.word] = null;
        break;
      case 'other-case':
        for (const row of rows) row[form.word] = otherCase(row[form.word]);
        break;
      case 'empty-error':
        for (const row of rows) row[errorField(form)] = {};
        break;
      case 'text-error':
        for (const row of rows) row[errorField(form)] = where.argument;
        break;
      case 'empty':
        if (isSingle) disturbed = { ...reply, json: {} };
        rows = [];
        break;
      case 'gone':
        if (isSingle) disturbed = refusals['not-found'];
        rows = [];
        break;
      case 'poison':
        disturbed = refusals['not-found'];
        break;
      case 'refused':
        disturbed = { status: 400, json: { message: 'this one I do not tell of' } };
        break;
      case 'partial':
        rows = rows.slice(1);
        break;
      case 'duplicate-rows':
        rows = rows.flatMap((row) => [row, row]);
        break;
      case 'reordered-rows':
        rows = rows.toReversed();
        break;
      default:
    }
  }
  if (disturbed !== undefined) return disturbed;
  if (isSingle) return { ...reply, json: rows[0] };
  return { ...reply, json: field === '' ? rows : { ...body, [field]: rows } };
}

function otherCase(word: unknown): unknown {
  if (typeof word !== 'string') return word;
  return word === word.toUpperCase() ? word.toLowerCase() : word.toUpperCase();
}

function errorField({ error }: StatusReply): string {
  if (error === undefined) throw new Error('name the field of errors in `statuses`');
  return error;
}
