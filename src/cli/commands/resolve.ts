import { loadSettings } from '../../config/load-config.ts';
import type { Resolution } from '../../core/submission.ts';
import { adapters } from '../vendor-modules.ts';
import { CommandError, exitCodes } from '../exit-codes.ts';
import { openProducer } from '../open-producer.ts';
import { findVendor } from '../operation-name.ts';
import { complain } from '../report-error.ts';

export interface ResolveFlags {
  adopt?: string;
  resend?: boolean;
  giveUp?: boolean;
}

/** Carries a person's decision to a submission of unknown fate that waits for one. */
export async function resolve(vendor: string, submissionId: string, flags: ResolveFlags): Promise<number> {
  findVendor(vendor);
  const resolution = readResolution(flags);
  const producer = openProducer(loadSettings(process.env, adapters));
  try {
    switch (await producer.resolve(vendor, submissionId, resolution)) {
      case 'resolved':
        process.stdout.write(`${submissionId}: goes on; its completion event tells how it ended\n`);
        return exitCodes.ok;
      case 'decided':
        complain(`${submissionId}: another decision was made before, and it stands`);
        return exitCodes.notSucceeded;
      case 'not-waiting':
        complain(`${submissionId} waits for no decision; \`jobferry retry\` starts a settled submission anew`);
        return exitCodes.notSucceeded;
      case 'unknown':
        complain(`${vendor} knows no submission ${JSON.stringify(submissionId)}`);
        return exitCodes.notSucceeded;
    }
  } finally {
    await producer.close();
  }
}

function readResolution({ adopt, resend, giveUp }: ResolveFlags): Resolution {
  const given = [adopt !== undefined, resend === true, giveUp === true].filter(Boolean).length;
  if (given !== 1) throw new CommandError(exitCodes.usage, 'give one of --adopt <vendorJobId>, --resend, --give-up');
  if (adopt !== undefined) return { kind: 'adopt', vendorJobId: adopt };
  return { kind: resend === true ? 'resend' : 'give-up' };
}
