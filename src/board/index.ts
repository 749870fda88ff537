export type { BoardOptions } from './board-options.ts';
export { startBoard, type RunningBoard } from './start-board.ts';
export { startHealthServer, type HealthServerOptions } from './health-server.ts';
