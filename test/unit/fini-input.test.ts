import { describe, expect, it } from 'vitest';
import { fini } from '../../src/vendors/fini/adapter.ts';
import {
  bulkGenerateInput,
  generateInput,
  ingestInput,
  refreshChangedInput,
  refreshInput,
  watchInput,
} from '../../src/vendors/fini/input.ts';
import { uuid } from '../helpers/fini.ts';

function faults(parsed: { success: boolean; error?: { issues: { path: PropertyKey[]; message: string }[] } }) {
  return parsed.success ? [] : parsed.error!.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
}

describe('documents.ingest', () => {
  it('takes URLs for web, which is the default source', () => {
    expect(ingestInput.parse({ documentIdsToAdd: ['https://example.com/a'] })).toEqual({
      source: 'web',
      documentIdsToAdd: ['https://example.com/a'],
      documentIdsToRefresh: [],
    });
  });

  it('explains the difference when web is given an id', () => {
    const [fault] = faults(ingestInput.safeParse({ documentIdsToAdd: [uuid(1)] }));
    expect(fault).toMatch(/^documentIdsToAdd\.0: is a record id; with source "web" this field takes URLs/);
    expect(fault).toContain('documents.refresh');
  });

  it.each(['googledrive', 'notion', 'zendesk', 'confluence'])('takes ids for %s and explains a URL', (source) => {
    expect(ingestInput.safeParse({ source, documentIdsToRefresh: [uuid(1)] }).success).toBe(true);
    const [fault] = faults(ingestInput.safeParse({ source, documentIdsToRefresh: ['https://example.com/a'] }));
    expect(fault).toContain(`is a URL; with source "${source}" this field takes record ids`);
  });

  it('refuses raw files and unknown sources by name', () => {
    const [fault] = faults(ingestInput.safeParse({ source: 'files', documentIdsToAdd: [uuid(1)] }));
    expect(fault).toContain('source: must be one of web, googledrive, notion, zendesk, confluence');
  });

  it('refuses two empty lists, and takes an item that is named twice, in one list or both', () => {
    expect(faults(ingestInput.safeParse({}))[0]).toContain('at least one of them must name an item');
    const twice = {
      documentIdsToAdd: ['https://a.test/', 'https://a.test/'],
      documentIdsToRefresh: ['https://a.test/'],
    };
    expect(faults(ingestInput.safeParse(twice))).toEqual([]);
  });

  it('takes URLs up to 2,048 characters, and ids in the forms in which the vendor sends them', () => {
    const url = `https://a.test/${'a'.repeat(2_048 - 15)}`;
    expect(faults(ingestInput.safeParse({ documentIdsToAdd: [url] }))).toEqual([]);
    expect(faults(ingestInput.safeParse({ documentIdsToAdd: [`${url}a`] }))).toHaveLength(1);
    expect(ingestInput.safeParse({ source: 'notion', documentIdsToAdd: ['page_1:2.b'] }).success).toBe(true);
  });

  it('refuses anything but http and https, and more than 10,000 items', () => {
    expect(ingestInput.safeParse({ documentIdsToAdd: ['file:///etc/passwd'] }).success).toBe(false);
    const many = Array.from({ length: 10_001 }, (_, index) => `https://a.test/${index}`);
    expect(ingestInput.safeParse({ documentIdsToAdd: many }).success).toBe(false);
    expect(ingestInput.safeParse({ documentIdsToAdd: many.slice(1) }).success).toBe(true);
  });

  it('refuses fields that it does not know', () => {
    expect(ingestInput.safeParse({ documentIdsToAdd: ['https://a.test/'], urls: [] }).success).toBe(false);
  });
});

describe('lists of record ids', () => {
  it.each([
    ['documents.refresh', refreshInput],
    ['knowledge.bulkGenerate', bulkGenerateInput],
    ['knowledge.refreshChanged', refreshChangedInput],
  ])('%s: not empty, no URL, bounded ids in the forms of the vendor, each of them once', (_, schema) => {
    const check = (documentIds: unknown) => faults(schema.safeParse({ documentIds }));
    expect(check([uuid(1), uuid(2)])).toEqual([]);
    expect(check([])).toHaveLength(1);
    expect(check(['https://a.test/'])[0]).toContain('is a URL; this field takes record ids');
    expect(schema.parse({ documentIds: [uuid(1), 'doc_1:2.b', uuid(1)] }).documentIds).toEqual([uuid(1), 'doc_1:2.b']);
    for (const odd of ['../x', '..', 'a b', 'é']) expect(check([odd])[0]).toContain('must match');
    expect(check(['a'.repeat(201)])).toHaveLength(1);
    expect(check(Array.from({ length: 10_001 }, (__, index) => uuid(index)))).toHaveLength(1);
  });
});

describe('knowledge.generate', () => {
  const text = { candidateKnowledge: 'How to reset a password' };

  it('asks each origin for what it needs, and drafts unless told otherwise', () => {
    expect(generateInput.parse({ origin: 'generated', ...text })).toEqual({
      origin: 'generated',
      ...text,
      isDraft: true,
    });
    expect(generateInput.safeParse({ origin: 'sources', ...text, documentId: uuid(1) }).success).toBe(true);
    expect(generateInput.safeParse({ origin: 'inbox', ...text, hcEventId: uuid(1) }).success).toBe(true);
    expect(generateInput.safeParse({ origin: 'inbox', ...text, hcEventId: 'ev_1.2', botId: 'bot:7' }).success).toBe(
      true,
    );
    expect(faults(generateInput.safeParse({ origin: 'sources', ...text }))[0]).toMatch(/^documentId: /);
    expect(faults(generateInput.safeParse({ origin: 'inbox', ...text }))[0]).toMatch(/^hcEventId: /);
    expect(generateInput.safeParse({ origin: 'generated', ...text, documentId: uuid(1) }).success).toBe(false);
  });

  it.each(['generated', 'sources', 'inbox'])('always needs the text, with origin %s too', (origin) => {
    const input = { origin, documentId: uuid(1), hcEventId: uuid(1) };
    expect(faults(generateInput.safeParse(input)).some((fault) => fault.startsWith('candidateKnowledge'))).toBe(true);
  });

  it('refuses unknown origins and operations, and a text beyond what a job may hold', () => {
    expect(generateInput.safeParse({ origin: 'web', ...text }).success).toBe(false);
    const with_ = (more: object) => generateInput.safeParse({ origin: 'generated', ...text, ...more }).success;
    expect(with_({ restrictedOps: ['UPDATE_ARTICLE', 'DO_NOTHING', 'ADD_ARTICLE_TO_FOLDER'] })).toBe(true);
    expect(with_({ restrictedOps: ['DELETE_ARTICLE'] })).toBe(false);
    expect(with_({ restrictedOps: ['DO_NOTHING', 'DO_NOTHING'] })).toBe(false);
    expect(with_({ candidateKnowledge: 'x'.repeat(500_001) })).toBe(false);
    expect(with_({ isDraft: 'no' })).toBe(false);
  });
});

describe('knowledge.bulkGenerate', () => {
  it('knows one origin and sets it', () => {
    expect(bulkGenerateInput.parse({ documentIds: [uuid(1)] })).toMatchObject({ origin: 'sources', isDraft: true });
    expect(bulkGenerateInput.safeParse({ documentIds: [uuid(1)], origin: 'generated' }).success).toBe(false);
    expect(bulkGenerateInput.safeParse({ documentIds: [uuid(1)], candidateKnowledge: 'x' }).success).toBe(false);
  });
});

describe('the catalogue', () => {
  it('says that what is processed, or a draft, is not live', () => {
    for (const name of ['documents.ingest', 'documents.refresh'] as const)
      expect(fini.operations[name].summary).toContain('COMPLETED means processed, not live');
    for (const name of ['knowledge.generate', 'knowledge.bulkGenerate'] as const)
      expect(fini.operations[name].summary).toContain('Drafts are live once published');
  });
});

describe('watch', () => {
  it('takes jobs or documents, and one of them at least', () => {
    expect(watchInput.safeParse({ jobIds: [uuid(1)] }).success).toBe(true);
    expect(watchInput.safeParse({ documentIds: [uuid(1)] }).success).toBe(true);
    expect(faults(watchInput.safeParse({}))).toEqual(['jobIds: or documentIds is required']);
  });
});
