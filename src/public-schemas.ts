import * as z from 'zod';
import { configFile } from './config/config-file.ts';
import { completionEvent } from './core/completion-event.ts';
import { submitJobData } from './queues/submit-job.ts';
import { adapters } from './vendors/catalogue.ts';

/**
 * The JSON Schemas of everything that other programs write or read: file name in `schemas/` → schema. Generated from
 * the schemas that are checked with at run time, so the two can not drift apart.
 */
export function publicSchemas(): Record<string, object> {
  const schemas: Record<string, object> = {
    'completion-event.json': describe('A completion event', completionEvent, 'output'),
    'submit-job.json': describe('The data of a submit job', submitJobData, 'input'),
    'config-file.json': describe('The configuration file', configFile, 'input'),
  };
  for (const adapter of adapters) {
    for (const [name, operation] of Object.entries(adapter.operations)) {
      schemas[`input.${adapter.name}.${name}.json`] = describe(operation.summary, operation.input, 'input');
    }
  }
  return schemas;
}

function describe(title: string, schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return { $schema, title, ...rest };
}
