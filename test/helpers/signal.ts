/** Something that one side of a test waits for and the other lets happen. */
export interface Signal {
  happened: Promise<void>;
  happen: () => void;
}

export function signal(): Signal {
  let happen: () => void = () => undefined;
  const happened = new Promise<void>((resolve) => {
    happen = resolve;
  });
  return { happened, happen };
}
