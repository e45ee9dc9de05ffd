// SPDX-License-Identifier: MIT
/**
 * A call to Xen's libraries, to map memory, or to xenstored is refused because something is short, once. Which calls there
 * are is found by counting them.
 */

import { problemsAt } from "./every-step.js";
import { type Walked, type Way, walk } from "./walk.js";

const MINUTES = 60_000;
const [REFUSED, FAULT, LATER] = [1, 70, 75];

/** What is wrong with how it went on, in words. */
function problems(way: Way, step: string, { exit, next, said, left, served, steps }: Walked): string[] {
  const at = `${way}, ${step} (${steps.join()})`;
  const found: string[] = [];
  // Who asked reads there why the guest, which lives, is not served.
  const expected = exit === REFUSED ? /ioreqd\/(state|error)$/ : /ioreqd\/(state|pid|ioservid|version)$/;
  const isKept = exit === REFUSED || said.includes("xenstore keys not removed");
  const unexpected = left.filter((what) => !(isKept && expected.test(what)));
  found.push(...unexpected.map((what) => `${at}: left behind: ${what}`));
  if (steps.length > 0 && exit !== 0 && !/ENOMEM/.test(said)) found.push(`${at}: nothing says ENOMEM: ${said}`);
  // A transfer of the guest's that could not be made is told, and does not end the process.
  const isTold = said.includes("guest memory not mapped");
  if (way === "take over" && !served && !isTold) found.push(`${at}: the guest was not served to its end: ${said}`);
  if (exit === 0 && !served && !isTold) found.push(`${at}: the guest failed: ${said}`);
  const isFirst = way === "serve" && exit === REFUSED;
  const isLeft = (exit === FAULT || exit === LATER || way === "take over") && next === 0;
  if (exit !== 0 && !isFirst && !isLeft) found.push(`${at}: it ended with ${exit}, the next with ${next}: ${said}`);
  return found;
}

test.each<Way>(["serve", "take over"])(
  "a call that is refused with ENOMEM, any of %s: an error that says so, or the guest is served all the same",
  async (way) => {
    const { steps } = await walk(way, "count");
    const calls = steps.map((_, n) => `ENOMEM at ${n}`);
    expect(await problemsAt(way, calls, 9, problems)).toEqual([]);
  },
  10 * MINUTES,
);
