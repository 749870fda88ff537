import { JobferryError, StepTimeoutError, VendorContractError } from './errors.ts';

/** The cause of an error that the vendor's module is to blame for, not the vendor. */
export class ModuleFault extends Error {
  override readonly name = 'ModuleFault';
}

/** What a module returned does not fit the port. @param step - such as `acme render: submit` */
export function moduleFault(step: string, fault: string): VendorContractError {
  const message = `${step} returned ${fault}`;
  return new VendorContractError(message, { cause: new ModuleFault(message) });
}

export function isModuleFault(error: unknown): boolean {
  return error instanceof JobferryError && error.cause instanceof ModuleFault;
}

/** False where the module is at fault: such an error shows neither that the vendor works nor that it is down. */
export function saysOfVendor(error: unknown): boolean {
  return error instanceof JobferryError && !(error instanceof StepTimeoutError) && !isModuleFault(error);
}
