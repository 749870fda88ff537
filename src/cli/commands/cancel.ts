import { loadSettings } from '../../config/load-config.ts';
import { adapters } from '../vendor-modules.ts';
import { exitCodes } from '../exit-codes.ts';
import { openProducer } from '../open-producer.ts';
import { findVendor } from '../operation-name.ts';
import { complain } from '../report-error.ts';

export async function cancel(vendor: string, submissionId: string): Promise<number> {
  findVendor(vendor);
  const producer = openProducer(loadSettings(process.env, adapters));
  try {
    const result = await producer.cancel(vendor, submissionId);
    switch (result) {
      case 'requested':
        process.stdout.write(`${submissionId}: cancel requested; its completion event tells how it ended\n`);
        return exitCodes.ok;
      case 'already-over':
        process.stdout.write(`${submissionId}: already over\n`);
        return exitCodes.ok;
      case 'unknown':
        complain(`${vendor} knows no submission ${JSON.stringify(submissionId)}`);
        return exitCodes.notSucceeded;
    }
  } finally {
    await producer.close();
  }
}
