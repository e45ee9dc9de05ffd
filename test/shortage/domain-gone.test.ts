// SPDX-License-Identifier: MIT
/**
 * The domain is destroyed at a step: before, or after, any call to Xen's libraries and any request to xenstored, of a process
 * that starts, serves, takes over, lets go, or abandons a guest. Which steps there are is found by counting them.
 */

import { problemsAt } from "./every-step.js";
import { type Walked, type Way, walk } from "./walk.js";

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
    expect(await problemsAt(way, moments, 7, problems)).toEqual([]);
  },
  10 * MINUTES,
);
