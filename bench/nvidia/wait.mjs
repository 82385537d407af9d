// How a timed run ends: the thread waits for the GPU. The driver's own wait leaves the thread to others, and looks again after a
// millisecond: a hundredth of a sample, where the peers' clock is the GPU's.

/** A function that returns when all that was launched has run. */
export function blockingWait(chip) {
  const probe = chip.driver.alloc(64);
  return () => void chip.driver.readSync(probe, 0, 1);
}
