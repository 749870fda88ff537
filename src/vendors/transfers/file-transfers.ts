import type { Artifact, DownloadRequest, OpenFile, Transfers } from '../../ports/vendor-adapter.ts';
import { download } from './download.ts';
import { openFileBelow } from './files.ts';
import { isPrivateUrl } from './public-address.ts';
import { StorageClient } from './storage-client.ts';
import { upload } from './upload.ts';

export interface TransferOptions {
  /** The only folder that `file` inputs are read from. */
  filesDir: string | undefined;
  /** Where results go. */
  artifactsDir: string;
  /** Lets transfers go to loopback and private addresses. */
  allowPrivateUrls: boolean;
  /** The largest result that is kept, bytes. */
  maxResultBytes: number;
  /** How long a transfer may stand still, ms; 30 s when left out. */
  idleTimeoutMs?: number;
}

/** Moves bytes between vendors' storage and our disk, streaming: no file is ever held in memory. */
export class FileTransfers implements Transfers {
  readonly #options: TransferOptions;
  readonly #client: StorageClient;

  constructor(options: TransferOptions) {
    this.#options = options;
    this.#client = new StorageClient(options.idleTimeoutMs ?? 30_000);
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async openFile(name: string): Promise<OpenFile> {
    return openFileBelow(this.#options.filesDir, name);
  }

  async upload(
    link: { url: string; headers: Record<string, string>; vendorUrl: string },
    file: string,
    signal: AbortSignal,
  ): Promise<void> {
    // A vendor on a private address hands out links to its own storage there; it has our key already.
    const allowPrivate = this.#options.allowPrivateUrls || isPrivateUrl(link.vendorUrl);
    await upload(this.#client, link, () => this.openFile(file), { allowPrivate, signal });
  }

  async download(order: DownloadRequest, signal: AbortSignal): Promise<Artifact> {
    const { artifactsDir, maxResultBytes, allowPrivateUrls: allowPrivate } = this.#options;
    return download(this.#client, order, { artifactsDir, maxResultBytes, allowPrivate, signal });
  }
}
