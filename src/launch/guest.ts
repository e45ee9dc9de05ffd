// SPDX-License-Identifier: MIT
/** A guest as xenstore knows it: its name, and whether it is still there. */

import { IoreqdError } from "../base/errors.js";
import { type DomId, domId } from "../base/ids.js";
import { didYouMean } from "../base/suggest.js";
import type { XenStore } from "../xenstore/client.js";

export interface Guest {
  readonly domid: DomId;
  /** As in the xl config. Null for a domain that no toolstack named. */
  readonly name: string | null;
  /** Its own among all that ever ran; "" where the toolstack gave none. */
  readonly uuid: string;
}

/** What xl adds to the name of a guest that another host sends, until it is there. Source: Xen tools/xl/xl_vmcontrol.c. */
const INCOMING = /--incoming$/;

/** Throws DOMAIN_UNKNOWN. */
export async function findGuest(store: XenStore, domid: DomId): Promise<Guest> {
  if (domid === 0)
    throw new IoreqdError("DOMAIN_UNKNOWN", "domain 0 is this host's own; ioreqd serves guests", { domid });
  if (!(await store.isIntroduced(domid))) {
    throw new IoreqdError(
      "DOMAIN_UNKNOWN",
      `there is no domain ${domid}: it has ended, or never was; xl list shows the domains there are`,
      { domid },
    );
  }
  const [name, vm] = await Promise.all(["name", "vm"].map((key) => store.read(`/local/domain/${domid}/${key}`)));
  return {
    domid,
    name: name?.replace(INCOMING, "") ?? null,
    uuid: /^\/vm\/([0-9a-f-]{36})/i.exec(vm ?? "")?.[1]?.toLowerCase() ?? "",
  };
}

/** By number or by name. Throws DOMAIN_UNKNOWN. */
export async function resolveGuest(store: XenStore, nameOrDomid: string): Promise<Guest> {
  if (/^\d+$/.test(nameOrDomid)) return findGuest(store, domId(Number(nameOrDomid)));
  const names = new Map<string, number>();
  for (const entry of (await store.list("/local/domain")) ?? []) {
    const name = await store.read(`/local/domain/${entry}/name`);
    if (name !== null) names.set(name, Number(entry));
  }
  const domid = names.get(nameOrDomid);
  if (domid !== undefined) return findGuest(store, domId(domid));
  throw new IoreqdError(
    "DOMAIN_UNKNOWN",
    `there is no domain called "${nameOrDomid}"${didYouMean(nameOrDomid, names.keys())} xl list shows the domains there are`,
    { name: nameOrDomid },
  );
}

/**
 * Calls `ended` once, when Xen has ended the domain: until then its pages may be used, from then on they
 * keep a dead domain from being freed. A guest that has merely shut down is still there.
 */
export async function watchForEnd(
  store: XenStore,
  domid: DomId,
  ended: () => void,
  failed: (error: unknown) => void,
): Promise<void> {
  let over = false;
  await store.watch("@releaseDomain", () => {
    store.isIntroduced(domid).then((introduced) => {
      if (introduced || over) return;
      over = true;
      ended();
    }, failed);
  });
}
