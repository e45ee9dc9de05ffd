// SPDX-License-Identifier: MIT
/** All cases, in the order in which one guest can go through them. */

import { accesses } from "./accesses.js";
import type { GuestCase } from "./case.js";
import { configSpace } from "./config-space.js";
import { devices } from "./devices.js";
import { messages } from "./messages.js";

export const CASES: readonly GuestCase[] = [...configSpace, ...devices, ...messages, ...accesses];
