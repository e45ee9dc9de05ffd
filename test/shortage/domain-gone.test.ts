// SPDX-License-Identifier: MIT
/**
 * The domain is destroyed at a step: before, or after, any call to Xen's libraries and any request to xenstored, of a process
 * that starts, serves, takes over, lets go, or abandons a guest. Which steps there are is found by counting them.
 */

import { type Walked, type Way, walk } from "./walk.js";

/** Every which step: all of them take some minutes, and are what EVERY_STEP=1 asks for. */
const STRIDE = process.env["EVERY_STEP"] === undefined ? 7 : 1;
const AT_ONCE = 2;
/** From the end of the domain to that of the process: xenstore tells at once, Xen is asked twice a second. */
const SOON_MS = 10_000;
const MINUTES = 60_000;

/** What is wrong with how it ended, in words. */
function problems(way: Way, step: string, { exit, endedAfterMs, said, left, steps }: Walked): string[] {
  const at = `${way}, ${step} (${steps.join()})`;
  const found = left.map((what) => `${at}: left behind: ${what}`);
  if (endedAfterMs !== null && endedAfterMs > SOON_MS) found.push(`${at}: it took ${endedAfterMs} ms to end`);
  // A guest that was not served yet can't be: that is an error, of one line. All else is a guest's end.
  const isRefusal =
    (way === "serve" || way === "attach") &&
    /^ioreqd: (DOMAIN_UNKNOWN|XEN_DOMAIN_GONE|SERVICE_FAILED): .+$/m.test(said) &&
    !said.includes('"ready"');
  if (exit !== (isRefusal ? 1 : 0)) found.push(`${at}: it ended with ${exit}: ${said}`);
  if (/^ +at /m.test(said)) found.push(`${at}: a stack: ${said}`);
  return found;
}

test.each<Way>(["serve", "take over", "abandon", "attach"])(
  "a domain that is destroyed at any step of %s: the process ends by itself, says so, and leaves nothing",
  async (way) => {
    const { steps, exit, left } = await walk(way, "count");
    expect({ exit, left }).toEqual({ exit: 0, left: [] });
    expect(steps.length).toBeGreaterThan(10);
    const moments = steps.flatMap((_, n) => [`before ${n}`, `after ${n}`]);
    const offset = Math.floor(Math.random() * STRIDE);
    const chosen = moments.filter((_, n) => n % STRIDE === offset);
    const found: string[] = [];
    const walker = async (): Promise<void> => {
      for (let step = chosen.shift(); step !== undefined; step = chosen.shift())
        found.push(...problems(way, step, await walk(way, step)));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, walker));
    expect(found).toEqual([]);
  },
  10 * MINUTES,
);
