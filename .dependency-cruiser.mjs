/**
 * The import arrows of docs/architecture.md §2. Imports point down only:
 *   cli → app → config → workers, producers, consumers, board → queues → ports → core
 *   app, config → vendors → ports, core
 * A room may skip levels downward, never climb. embedded-redis stands alone; so does sandbox/, which only cli opens, by
 * its published door.
 * Around src:  test → chaos → bench → src;  test, chaos and bench use scripts, which know one public file of src.
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
    {
      name: 'src-knows-no-tools',
      comment: 'what is shipped must not need what is not',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(bench|chaos|scripts|test|examples)/' },
    },
    {
      name: 'bench-imports-no-tests',
      severity: 'error',
      from: { path: '^bench/' },
      to: { path: '^(chaos|test|examples)/' },
    },
    {
      name: 'chaos-imports-no-tests',
      comment: 'a fire is judged by what it sees from outside: by nothing that tests use to look inside',
      severity: 'error',
      from: { path: '^chaos/' },
      to: { path: '^(test|examples)/' },
    },
    {
      name: 'scripts-know-only-schemas',
      comment: 'they run before anything is built or installed',
      severity: 'error',
      from: { path: '^scripts/' },
      to: { path: '^(src|bench|chaos|test|examples)/', pathNot: '^src/public-schemas' },
    },
    {
      name: 'the-checker-knows-no-engine',
      comment:
        'the fire’s checks and their evidence share no code with what they judge, or one bug would hide the other',
      severity: 'error',
      from: { path: '^chaos/lib/(check|check-held|evidence|violation)[.]ts$' },
      to: { path: '^src/(?!core/|ports/)' },
    },
    {
      name: 'examples-are-users',
      comment: 'they import what is published, by its name',
      severity: 'error',
      from: { path: '^examples/' },
      to: {
        path: '^(src/(?!index[.]ts|client[.]ts|conformance/index[.]ts)|sandbox/(?!index[.]ts)|bench|chaos|scripts|test)',
      },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
