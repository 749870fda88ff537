import { scriptedVendor, type Call, type ConformanceOptions } from 'jobferry/conformance';

/** Acme over HTTP on this machine: films in a map, each of them done at its second look. */
async function acmeDouble() {
  const films = new Map<string, { id: string; reference: string; looks: number; published: boolean }>();
  const show = ({ id, looks, published }: { id: string; looks: number; published: boolean }) => {
    return { id, state: looks < 2 ? 'rendering' : 'done', url: `https://films.example/${id}`, published };
  };
  const create = (reference: string) => {
    const film = { id: `film_${films.size + 1}`, reference, looks: 0, published: false };
    films.set(film.id, film);
    return film;
  };
  const find = ({ params: [id = ''] }: Call) => films.get(id);
  const double = await scriptedVendor({
    statuses: { route: 'GET /v1/renders/states', rows: 'renders', id: 'id', word: 'state', error: 'error' },
    routes: {
      'POST /v1/renders': ({ json }) => {
        const { reference } = json as { reference: string };
        return { status: 202, json: show(create(reference)) };
      },
      'GET /v1/renders': ({ query }) => {
        const found = [...films.values()].filter((film) => film.reference === query.get('reference'));
        return { json: { renders: found.map(show) } };
      },
      'GET /v1/renders/states': ({ query }) => {
        const found = (query.get('ids') ?? '').split(',').flatMap((id) => films.get(id) ?? []);
        for (const film of found) film.looks += 1;
        return { json: { renders: found.map(show) } };
      },
      'GET /v1/renders/*': (call) => {
        const film = find(call);
        return film && { json: show(film) };
      },
      'POST /v1/renders/*/publish': (call) => {
        const film = find(call);
        if (film !== undefined) film.published = true;
        return film && { status: 202, json: {} };
      },
    },
  });
  return Object.assign(double, { addFilm: () => create('somebody else').id, countFilms: () => films.size });
}

type AcmeDouble = Awaited<ReturnType<typeof acmeDouble>>;

/** What the suite has to know of Acme: an input of each operation, its requests, and the words that end a film. */
export const acmeCases: Omit<ConformanceOptions<AcmeDouble>, 'adapter' | 'redisUrl'> = {
  double: acmeDouble,
  operations: {
    render: {
      input: ({ n }) => ({ script: `scene ${n}` }),
      submit: 'POST /v1/renders',
      made: (double) => double.countFilms(),
    },
    publish: { input: ({ double }) => ({ renderId: double.addFilm() }), submit: 'POST /v1/renders/*/publish' },
  },
  lookups: {
    render: {
      via: 'render',
      route: 'GET /v1/renders/states',
      ends: { done: 'succeeded', failed: 'failed', stopped: 'failed' },
    },
  },
};
