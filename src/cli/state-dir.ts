// SPDX-License-Identifier: MIT
/** Where the directories of all domains are, for whoever knows no more of a guest than its number. */

import { hostSettings, settingsOf } from "../launch/settings.js";

export const DEFAULT_STATE_DIR = "/run/ioreqd";

export interface StateDirFlags {
  stateDir?: string;
  /** The guest's configuration, where it is named. */
  config?: string;
}

/**
 * As asked for, else as a named configuration says, else as ioreqd.conf does. A guest's own file is left out: its name is
 * not known where the guest has ended. Throws CONFIG_UNREADABLE, CONFIG_INVALID.
 */
export function stateDirOf({ stateDir, config }: StateDirFlags): string {
  const named = config === undefined ? undefined : settingsOf(config).config.stateDir;
  return stateDir ?? named ?? hostSettings().stateDir ?? DEFAULT_STATE_DIR;
}
