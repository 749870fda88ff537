import { createHash } from 'node:crypto';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import { invalidReply, plainError } from './errors.ts';
import { crawlBody, isWebUrl, read, registerBody } from './input.ts';
import type { SourceKind } from './model.ts';
import type { FiniParts, FiniRequest } from './parts.ts';

interface Item {
  readonly externalId: string;
  readonly title: string;
  readonly originalUrl: string;
}

const providers = ['notion', 'zendesk', 'confluence'] as const;
type Provider = (typeof providers)[number];

/** GET /v2/documents/public/resources/{provider}: what could be registered, without what is imported already. */
export function listResources(parts: FiniParts, { admission, grant }: FiniRequest): Reply {
  const provider = connected(parts, admission.dataId);
  if (provider === null) return unconnected(parts);
  const imported = new Set<string>();
  for (const record of parts.library.records()) {
    if (record.workspace === grant.workspace && record.source === provider && record.success) {
      imported.add(record.externalId);
    }
  }
  const items = imaginedItems(provider).filter((item) => !imported.has(item.externalId));
  switch (provider) {
    case 'notion':
      return json(
        200,
        items.map((item) => ({ ...item, mimeType: 'text/markdown', iconLink: null, object: 'page' })),
      );
    case 'zendesk':
      return json(200, [{ id: 'c1', name: 'General', sections: [{ id: 's1', name: 'Questions', articles: items }] }]);
    case 'confluence':
      return json(200, [{ id: 'SPACE', name: 'Space', pages: items.map((item) => ({ ...item, children: [] })) }]);
    default:
      return provider satisfies never;
  }
}

/** POST of the same path: writes records, queues nothing. */
export function registerResources(parts: FiniParts, request: FiniRequest): Reply {
  const provider = connected(parts, request.admission.dataId);
  if (provider === null) return unconnected(parts);
  const body = read(registerBody, request.body);
  if (Array.isArray(body)) return invalidReply(body, parts.settings());
  const { library, marks, settings } = parts;
  const { workspace } = request.grant;
  const known = new Map(
    [...library.records()]
      .filter((record) => record.workspace === workspace && record.source === provider)
      .map((record) => [record.externalId, record]),
  );
  const addedDocumentIds: string[] = [];
  const updatedDocumentIds: string[] = [];
  for (const { originalUrl, title, externalId, mimeType, object } of body.resources) {
    const record = known.get(externalId);
    if (record !== undefined) {
      record.title = title;
      record.mimeType = mimeType;
      library.touch(record);
      updatedDocumentIds.push(record.id);
      continue;
    }
    const faults = marks.forLater(`${originalUrl} ${title}`);
    const added = library.addRecord({
      workspace,
      source: provider,
      originalUrl,
      title,
      externalId,
      mimeType,
      type: object ?? 'page',
      faults,
    });
    known.set(externalId, added);
    addedDocumentIds.push(added.id);
  }
  return json(settings().postStatus, { addedDocumentIds, updatedDocumentIds });
}

/** POST /v2/documents/public/deep-crawl/links: the given links and made-up ones below them, at once. */
export function crawl({ settings }: FiniParts, { body }: FiniRequest): Reply {
  const asked = read(crawlBody, body);
  if (Array.isArray(asked)) return invalidReply(asked, settings());
  if (!asked.links.every(isWebUrl)) return invalidReply(['links must contain URLs'], settings());
  const found = asked.links.flatMap((link) => [link, ...[1, 2, 3].map((n) => `${link.replace(/\/$/, '')}/page-${n}`)]);
  const data = found.slice(0, asked.limit);
  return json(settings().postStatus, { data, message: `Found ${data.length} links` });
}

function connected({ settings }: FiniParts, name: string | null): Provider | null {
  const provider = providers.find((candidate) => candidate === name);
  return provider !== undefined && settings().connectedProviders.includes(provider) ? provider : null;
}

function unconnected(parts: FiniParts): Reply {
  return plainError(400, 'Provider is not supported or not connected', parts.settings());
}

function imaginedItems(provider: SourceKind): Item[] {
  return ['Returns', 'Shipping', 'Billing'].map((title) => ({
    externalId: createHash('sha1').update(`${provider} ${title}`).digest('hex').slice(0, 16),
    title,
    originalUrl: `https://${provider}.example.com/${title.toLowerCase()}`,
  }));
}
