import { z } from 'zod';

const name = z.string().min(1).max(255);
const description = z.string().max(1_000).nullish();
const customerRoleId = z.string().min(1).max(255);

export const roleCreateBody = z.object({ name, description, customerRoleId: customerRoleId.nullish() });
export const roleUpdateBody = z.object({
  name: name.optional(),
  description,
  customerRoleId: customerRoleId.nullish(),
});
export const roleUpsertBody = z.object({ customerRoleId, name: name.optional(), description });

export const roleIdsBody = z.object({ roleIds: z.array(z.guid()).min(1) });

export const knowledgeCreateBody = z
  .object({
    type: z.enum(['FILE', 'URL', 'LINK', 'STRING']),
    content: z.string().optional(),
    url: z.string().optional(),
    title: z.string().optional(),
    metadata: z.record(z.string(), z.unknown()).optional(),
    status: z.string().optional(),
  })
  .superRefine((body, context) => {
    const needed = body.type === 'STRING' ? 'content' : body.type === 'URL' ? 'url' : null;
    if (needed !== null && (body[needed] ?? '') === '') {
      context.addIssue({ code: 'custom', path: [needed], message: `is required for type ${body.type}` });
    }
  });

export const taxonomyCreateBody = z.object({ name, description });

export const jobIdsBody = z.object({ jobIds: z.array(z.string()).optional() });

export const rbacBody = z.object({ rbacStatus: z.enum(['ACTIVE', 'INACTIVE']) });

export const tokenBody = z.object({
  roleId: z.guid('roleId must be a UUID').optional(),
  customerRoleId: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,255}$/, 'customerRoleId may hold letters, digits, - and _, at most 255')
    .optional(),
});

/** The body as the route wants it, or what is wrong with it in one sentence. */
export function read<T extends z.ZodType>(schema: T, body: unknown): z.infer<T> | string {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  if (body === undefined) return 'Request body must be JSON';
  return result.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`).join('; ');
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return UUID.test(text);
}
