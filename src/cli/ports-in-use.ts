import { ConfigError } from '../core/errors.ts';

/** Turns a port that can not be listened on into a fault of the variable that named it. */
export function asPortFault(variable: string, port: number, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  const reasons: Record<string, string> = {
    EADDRINUSE: 'is taken by another process',
    EACCES: 'needs more rights than this process has',
    EADDRNOTAVAIL: 'is at an address that this machine does not have',
  };
  const reason = code === undefined ? undefined : reasons[code];
  return reason === undefined ? error : new ConfigError([{ path: variable, message: `port ${port} ${reason}` }]);
}

/** How many ports above the usual one are tried before any free one will do. */
const neighbours = 9;

/**
 * Listens on the port that was asked for, or near the usual one where nobody asked and that is taken.
 * @param wanted - undefined when nobody asked.
 * @param variable - what is at fault when the port that was asked for can not be had.
 */
export async function listenNear<T>(
  variable: string,
  wanted: number | undefined,
  usual: number,
  start: (port: number) => Promise<T>,
): Promise<{ server: T; isElsewhere: boolean }> {
  const ports = wanted === undefined ? [...Array(neighbours + 1).keys()].map((step) => usual + step) : [wanted];
  for (const port of ports) {
    try {
      return { server: await start(port), isElsewhere: port !== (wanted ?? usual) };
    } catch (error) {
      const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (wanted !== undefined || !isTaken) throw asPortFault(variable, port, error);
    }
  }
  return { server: await start(0), isElsewhere: true };
}
