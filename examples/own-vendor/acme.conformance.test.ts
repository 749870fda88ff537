// Everything that a vendor can do to an adapter. Run: REDIS_URL=redis://… node --import tsx --test examples/own-vendor
import { describe, it } from 'node:test';
import { conformance } from 'jobferry/conformance';
import { acmeCases } from './acme-double.ts';
import { acme } from './acme.ts';

const redisUrl = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';
conformance({ adapter: acme, redisUrl, ...acmeCases }, { describe, it });
