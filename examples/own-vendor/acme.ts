import { randomUUID } from 'node:crypto';
import { defineVendor, statusWords } from 'jobferry';
import * as z from 'zod';

// Acme renders films. Invented, and complete: one look-up for twenty renders, a create that is found again by our
// reference, and a publication without an id, whose outcome stands on the film itself.
const text = z.string();
const film = z.object({
  id: text,
  state: text,
  url: text.nullable().default(null),
  published: z.boolean().nullish(),
  error: z.unknown().optional(),
});
const films = z.object({ renders: z.array(film) });
const toStatus = statusWords({ queued: 'pending', done: 'succeeded', failed: 'failed', stopped: 'canceled' });
type Film = z.output<typeof film>;
const toReport = ({ state, url, error: reason }: Film) => {
  const status = toStatus(state);
  const message = typeof reason === 'string' ? reason : 'Acme gave no reason';
  const error = { code: 'vendor_job_failed', message, retryable: false };
  return { status, vendorStatus: state, result: { url }, ...(status === 'failed' ? { error } : {}) };
};

export const acme = defineVendor({
  name: 'acme',
  summary: 'Renders films from scripts.',
  account: z.strictObject({ apiKey: z.string().min(1), baseUrl: z.url().default('https://api.acme.example') }),
  lookups: {
    render: {
      maxBatch: 20,
      async look(jobs, { http }) {
        const query = { ids: jobs.map((job) => job.id).join() };
        const { body } = await http.request({ method: 'GET', path: 'v1/renders/states', query, reply: films });
        return new Map(body.renders.map((row) => [row.id, toReport(row)]));
      },
    },
  },
  operations: {
    render: {
      summary: 'Renders a script.',
      input: z.strictObject({ script: z.string().min(1).describe('What to render.') }),
      resend: 'lookup',
      preflight: async () => randomUUID(), // saved before the request: the same at every try, and nobody else's
      async submit({ input, http, snapshot: reference }) {
        const json = { ...input, reference };
        const { body } = await http.request({ method: 'POST', path: 'v1/renders', json, reply: film });
        return { jobs: [{ id: body.id, kind: 'render' }] };
      },
      async reconcile({ http, snapshot }) {
        const query = { reference: snapshot as string };
        const { body } = await http.request({ method: 'GET', path: 'v1/renders', query, reply: films });
        const jobs = body.renders.map(({ id }) => ({ id, kind: 'render' }));
        return { found: jobs.length > 0 ? { jobs } : 'absent' };
      },
    },
    publish: {
      summary: 'Publishes a film.',
      input: z.strictObject({ renderId: z.string().regex(/^\w+$/).describe('A film that is done.') }),
      resend: 'safe',
      async submit({ input, http }) {
        await http.request({ method: 'POST', path: `v1/renders/${input.renderId}/publish`, reply: z.unknown() });
        return { jobs: [] };
      },
      async confirm({ input, http }) {
        const { body } = await http.request({ method: 'GET', path: `v1/renders/${input.renderId}`, reply: film });
        return body.published === true ? { kind: 'confirmed' } : { kind: 'not-yet', reason: 'it is not public yet' };
      },
    },
  },
});
