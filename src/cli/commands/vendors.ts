import * as z from 'zod';
import type { Operation, VendorAdapter } from '../../ports/vendor-adapter.ts';
import { adapters } from '../vendor-modules.ts';
import { neededVariables } from '../credentials.ts';
import { describeFields, type JsonSchema } from '../describe-schema.ts';
import { exitCodes } from '../exit-codes.ts';
import { findOperation, findVendor } from '../operation-name.ts';

export async function vendors(name: string | undefined, flags: { json?: boolean }): Promise<number> {
  const isJson = flags.json === true;
  let output: string;
  if (name?.includes('.') === true) {
    const { operation } = findOperation(name);
    const schema = z.toJSONSchema(operation.input, { io: 'input', unrepresentable: 'any' });
    output = isJson ? toJson(schema) : describeOperation(name, operation, schema as JsonSchema);
  } else {
    const shown = name === undefined ? adapters : [findVendor(name)];
    output = isJson ? toJson(shown.map(summarise)) : shown.map(describeVendor).join('\n\n');
  }
  process.stdout.write(`${output}\n`);
  return exitCodes.ok;
}

function toJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2);
}

function summarise(adapter: VendorAdapter): object {
  return {
    vendor: adapter.name,
    summary: adapter.summary,
    environment: Object.values(adapter.environment),
    startedBy: adapter.credentials.map((field) => adapter.environment[field] ?? field),
    operations: Object.entries(adapter.operations).map(([name, operation]) => ({
      operation: `${adapter.name}.${name}`,
      summary: operation.summary,
      resend: typeof operation.resend === 'function' ? 'by-input' : operation.resend,
    })),
  };
}

function describeVendor(adapter: VendorAdapter): string {
  const entries = Object.entries(adapter.operations);
  const width = Math.max(...entries.map(([name]) => name.length)) + adapter.name.length + 1;
  const others = Object.values(adapter.environment).filter((variable) => !neededVariables(adapter).includes(variable));
  const also = others.length === 0 ? '' : `; also ${others.join(', ')}`;
  return [
    `${adapter.name}: ${adapter.summary}`,
    `  started by ${neededVariables(adapter)}${also}`,
    ...entries.flatMap(([name, operation]) => [
      `  ${`${adapter.name}.${name}`.padEnd(width)}  ${operation.summary}`,
      `  ${' '.repeat(width)}  after a lost answer: ${describeResend(operation)}`,
    ]),
  ].join('\n');
}

function describeOperation(name: string, operation: Operation, schema: JsonSchema): string {
  const groups = describeFields(schema);
  const fields = groups.flatMap((group) => group.fields);
  const pathWidth = Math.max(0, ...fields.map((field) => field.path.length));
  // One long list of words must not push every description off the screen.
  const typeWidth = Math.min(20, Math.max(0, ...fields.map((field) => field.type.length)));
  return [
    `${name}: ${operation.summary}`,
    `After a lost answer: ${describeResend(operation)}.`,
    ...groups.flatMap(({ title, fields: shown }) => [
      '',
      title,
      ...shown.map(({ path, type, note }) =>
        `  ${path.padEnd(pathWidth)}  ${type.padEnd(typeWidth)}  ${note}`.trimEnd(),
      ),
    ]),
    '',
    `JSON Schema: jobferry vendors ${name} --json`,
  ].join('\n');
}

function describeResend({ resend }: Operation): string {
  if (typeof resend === 'function') return 'depends on the input';
  switch (resend) {
    case 'safe':
      return 'sent again, which has the same effect';
    case 'lookup':
      return 'looked up at the vendor, sent again only when it is surely not there';
    case 'none':
      return 'never sent again; ends as unconfirmed';
  }
}
