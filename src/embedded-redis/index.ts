export { findRedisServer, type FindServerOptions, type RedisServerBinary } from './find-server.ts';
export { startEmbeddedRedis, type EmbeddedRedis, type EmbeddedRedisOptions } from './start-server.ts';
