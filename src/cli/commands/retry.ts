import { loadSettings } from '../../config/load-config.ts';
import { adapters } from '../vendor-modules.ts';
import { exitCodes } from '../exit-codes.ts';
import { openProducer } from '../open-producer.ts';
import { findVendor } from '../operation-name.ts';
import { complain } from '../report-error.ts';

/** Starts a settled submission anew, as a submission of its own. */
export async function retry(vendor: string, submissionId: string, flags: { force?: boolean }): Promise<number> {
  findVendor(vendor);
  const producer = openProducer(loadSettings(process.env, adapters));
  try {
    const result = await producer.retry(vendor, submissionId, flags);
    switch (result.kind) {
      case 'started':
        process.stdout.write(`${result.submissionId}\n`);
        return exitCodes.ok;
      case 'not-over':
        complain(
          `${result.submissionId} is not over yet; \`jobferry cancel ${vendor} ${result.submissionId}\` ends it`,
        );
        return exitCodes.notSucceeded;
      case 'retried':
        complain(`${submissionId} was retried as ${result.submissionId}; retry that one, or give --force`);
        return exitCodes.notSucceeded;
      case 'succeeded':
        complain(`${submissionId} succeeded; --force starts it anew, and the vendor may charge for it again`);
        return exitCodes.notSucceeded;
      case 'unknown':
        complain(`${vendor} knows no submission ${JSON.stringify(submissionId)}`);
        return exitCodes.notSucceeded;
    }
  } finally {
    await producer.close();
  }
}
