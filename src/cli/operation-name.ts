import type { Operation, VendorAdapter } from '../ports/vendor-adapter.ts';
import { adapters } from './vendor-modules.ts';
import { CommandError, exitCodes } from './exit-codes.ts';

/** @throws CommandError (usage) when there is no such vendor. */
export function findVendor(name: string): VendorAdapter {
  const adapter = adapters.find((one) => one.name === name);
  if (adapter !== undefined) return adapter;
  const known = adapters.map((one) => one.name).join(', ');
  throw new CommandError(exitCodes.usage, `argument <vendor>: ${JSON.stringify(name)} is no vendor; known: ${known}`);
}

/** Reads `knowhere.parse`. @throws CommandError (usage) naming what is unknown. */
export function findOperation(name: string): { adapter: VendorAdapter; operationName: string; operation: Operation } {
  const dot = name.indexOf('.');
  if (dot < 0) {
    const example = `${adapters[0]?.name}.${Object.keys(adapters[0]?.operations ?? {})[0]}`;
    const message = `argument <vendor>.<operation>: expected a form such as ${example}, got ${JSON.stringify(name)}`;
    throw new CommandError(exitCodes.usage, message);
  }
  const adapter = findVendor(name.slice(0, dot));
  const operationName = name.slice(dot + 1);
  const operation = Object.hasOwn(adapter.operations, operationName) ? adapter.operations[operationName] : undefined;
  if (operation !== undefined) return { adapter, operationName, operation };
  const known = Object.keys(adapter.operations).join(', ');
  throw new CommandError(
    exitCodes.usage,
    `argument <vendor>.<operation>: ${adapter.name} has no operation ${JSON.stringify(operationName)}; it has ${known}`,
  );
}
