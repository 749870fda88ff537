import { readdirSync, readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { describe, expect, it } from 'vitest';
import { publicSchemas } from '../../src/public-schemas.ts';

describe('schemas/', () => {
  it('holds what the product checks with', () => {
    const current = publicSchemas();
    expect(readdirSync('schemas').sort()).toEqual(Object.keys(current).sort());
    for (const [name, schema] of Object.entries(current)) {
      expect(JSON.parse(readFileSync(`schemas/${name}`, 'utf8'))).toEqual(JSON.parse(JSON.stringify(schema)));
    }
  });

  it('accepts the contract’s examples and refuses what the product refuses', () => {
    const ajv = addFormats.default(new Ajv2020({ strict: false }));
    const submit = ajv.compile(publicSchemas()['submit-job.json']!);
    const job = {
      input: { sourceType: 'url', sourceUrl: 'https://example.com/a.pdf' },
      account: 'default',
      poll: { initialDelayMs: 2000, factor: 1.5, maxDelayMs: 30000, deadlineMs: 1800000, submitWithinMs: 86400000 },
      replyTo: 'results',
      metadata: { orderId: 17 },
    };
    expect(submit(job)).toBe(true);
    expect(submit({ ...job, retries: 3 })).toBe(false);
    expect(submit({ ...job, replyTo: 'a b' })).toBe(false);
    const parse = ajv.compile(publicSchemas()['input.knowhere.parse.json']!);
    expect(parse(job.input)).toBe(true);
    expect(parse({ ...job.input, colour: 1 })).toBe(false);
  });
});
