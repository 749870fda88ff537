/**
 * The import arrows of docs/architecture.md §2. Imports point down only:
 *   cli → app → config → workers, producers, consumers, board → queues → ports → core
 *   app, config → vendors → ports, core
 * A room may skip levels downward, never climb. embedded-redis stands alone; so does sandbox/, which only cli opens, by
 * its published door.
 */
const below = {
  core: [],
  ports: ['core'],
  queues: ['ports', 'core'],
  producers: ['queues', 'ports', 'core'],
  consumers: ['queues', 'ports', 'core'],
  workers: ['queues', 'ports', 'core'],
  board: ['queues', 'ports', 'core'],
  vendors: ['ports', 'core'],
  'embedded-redis': [],
  config: ['workers', 'producers', 'consumers', 'board', 'queues', 'ports', 'core', 'vendors'],
};

const rooms = Object.entries(below).map(([room, allowed]) => ({
  name: `${room}-imports-down-only`,
  severity: 'error',
  from: { path: `^src/${room}/` },
  to: { path: '^src/', pathNot: [`^src/${room}/`, ...allowed.map((other) => `^src/${other}/`)] },
}));

export default {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'core-is-pure',
      comment: 'core knows zod and nothing else of the outside world',
      severity: 'error',
      from: { path: '^src/core/' },
      to: { dependencyTypes: ['npm', 'core'], pathNot: ['node_modules/zod/', '^node:crypto$', '^crypto$'] },
    },
    {
      name: 'only-composition-climbs',
      comment: 'app, client, index, cli and conformance compose the rooms; nothing imports them from below',
      severity: 'error',
      from: { path: '^src/(?!cli/|conformance/|app|client|index)' },
      to: { path: '^src/(cli/|conformance/|app|client|index)' },
    },
    {
      name: 'client-is-light',
      comment:
        'services that only submit and read events load bullmq, ioredis and zod, and of the vendors their schemas',
      severity: 'error',
      from: { path: '^src/client' },
      to: { path: '^src/', pathNot: '^src/(core|queues|producers|consumers|vendors/inputs)' },
    },
    {
      name: 'conformance-knows-no-vendor',
      comment: 'it runs whatever adapter it is given against whatever double it is given',
      severity: 'error',
      from: { path: '^src/conformance/' },
      to: { path: '^src/(vendors|cli|producers|consumers|board|index)' },
    },
    {
      name: 'sandbox-stands-alone',
      comment: 'it shares no code with the vendors that it doubles, so that they do not share one bug',
      severity: 'error',
      from: { path: '^sandbox/' },
      to: { pathNot: ['^sandbox/', 'node_modules/'], dependencyTypesNot: ['core'] },
    },
    {
      name: 'only-cli-opens-the-sandbox',
      severity: 'error',
      from: { path: '^src/(?!cli/)' },
      to: { path: '^sandbox/' },
    },
    {
      name: 'sandbox-has-one-door',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^sandbox/', pathNot: '^sandbox/index\\.ts$' },
    },
    ...rooms,
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
