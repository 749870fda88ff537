import { describe, it, vi } from 'vitest';
import { conformance } from '../../src/conformance/index.ts';
import { redisUrl } from '../helpers/redis.ts';

// The example imports the published names; here they stand for the sources.
vi.mock('jobferry', () => import('../../src/index.ts'));
vi.mock('jobferry/conformance', () => import('../../src/conformance/index.ts'));

const { acme } = await import('../../examples/own-vendor/acme.ts');
const { acmeCases } = await import('../../examples/own-vendor/acme-double.ts');

conformance({ adapter: acme, redisUrl, ...acmeCases }, { describe, it });
