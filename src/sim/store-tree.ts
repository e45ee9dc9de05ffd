// SPDX-License-Identifier: MIT
/**
 * The nodes of a xenstored: values, permissions, and transactions over them. Behaviour as of Xen
 * docs/misc/xenstore.txt and tools/xenstore/xenstored_core.c. Nobody is denied anything, and nothing has a quota:
 * whoever reaches the simulated host owns it.
 */

import { PATH_MAX } from "../xenstore/wire.js";

/** What a call is refused with; `errno` is a name. */
export class StoreError extends Error {
  readonly errno: string;

  constructor(errno: string) {
    super(errno);
    this.errno = errno;
  }
}

/** Never changed: a change is another node in its place. */
interface Node {
  readonly value: Buffer;
  readonly permissions: readonly string[];
  /** Names, in the order in which they were made. */
  readonly children: readonly string[];
  /** Another for each change, of which making and removing a node below is one. */
  readonly generation: number;
}

/** A path that changed. `exact`: who watches only a node above it need not hear of it. */
export interface Change {
  readonly path: string;
  readonly exact: boolean;
}

const EMPTY = Buffer.alloc(0);
const PATH = /^\/$|^(\/[-\w@]+)+$/;
const PERMISSION = /^[rwbn]\d+$/;

/** The nodes themselves, or what a transaction makes of them. */
abstract class Nodes {
  protected abstract get(path: string): Node | undefined;
  protected abstract set(path: string, node: Node | null): void;
  protected abstract changed(change: Change): void;
  protected abstract nextGeneration(): number;

  /** Throws ENOENT, as all do where there is no such node, and EINVAL for what is not a path. */
  read(path: string): Buffer {
    return this.#existing(path).value;
  }

  list(path: string): readonly string[] {
    return this.#existing(path).children;
  }

  generation(path: string): number {
    return this.#existing(path).generation;
  }

  permissions(path: string): readonly string[] {
    return this.#existing(path).permissions;
  }

  /** Whether it could be one. */
  isPath(path: string): boolean {
    return PATH.test(path) && path.length <= PATH_MAX;
  }

  has(path: string): boolean {
    return this.get(this.#checked(path)) !== undefined;
  }

  /** Makes what is missing, down to the node itself. */
  write(path: string, value: Buffer): void {
    this.#replace(path, { ...this.#made(this.#checked(path)), value: Buffer.from(value) });
    this.changed({ path, exact: false });
  }

  /** That it is there already is fine. */
  mkdir(path: string): void {
    if (this.has(path)) return;
    this.#made(path);
    this.changed({ path, exact: false });
  }

  setPermissions(path: string, permissions: readonly string[]): void {
    const node = this.#existing(path);
    if (permissions.length === 0 || !permissions.every((one) => PERMISSION.test(one))) throw new StoreError("EINVAL");
    this.#replace(path, { ...node, permissions });
    this.changed({ path, exact: false });
  }

  /** With all below. That the node is missing is fine, that its parent is missing is not. */
  remove(path: string): void {
    if (this.#checked(path) === "/") throw new StoreError("EINVAL");
    const above = parentOf(path);
    const parent = this.#existing(above);
    if (this.get(path) === undefined) return;
    this.changed({ path, exact: false });
    this.#removeBelow(path);
    this.#replace(above, {
      ...parent,
      children: parent.children.filter((name) => `${prefixOf(above)}${name}` !== path),
    });
  }

  #removeBelow(path: string): void {
    for (const name of this.get(path)?.children ?? []) {
      this.#removeBelow(`${path}/${name}`);
      this.changed({ path: `${path}/${name}`, exact: true });
    }
    this.set(path, null);
  }

  #checked(path: string): string {
    if (!this.isPath(path)) throw new StoreError("EINVAL");
    return path;
  }

  #existing(path: string): Node {
    const node = this.get(this.#checked(path));
    if (node === undefined) throw new StoreError("ENOENT");
    return node;
  }

  /** The node, made where it is missing, with its parent's permissions. */
  #made(path: string): Node {
    const node = this.get(path);
    if (node !== undefined) return node;
    const above = parentOf(path);
    const parent = this.#made(above);
    this.#replace(above, { ...parent, children: [...parent.children, path.slice(prefixOf(above).length)] });
    this.#replace(path, { value: EMPTY, permissions: parent.permissions, children: [], generation: 0 });
    return this.#existing(path);
  }

  #replace(path: string, node: Node): void {
    this.set(path, { ...node, generation: this.nextGeneration() });
  }
}

export class StoreTree extends Nodes {
  readonly #nodes = new Map<string, Node>([["/", { value: EMPTY, permissions: ["n0"], children: [], generation: 0 }]]);
  readonly #onChange: (change: Change) => void;
  #generation = 0;

  /** `onChange` is called for each change, and at the end of a transaction for all of its changes. */
  constructor(onChange: (change: Change) => void) {
    super();
    this.#onChange = onChange;
  }

  begin(): Transaction {
    return new Transaction(this);
  }

  override get(path: string): Node | undefined {
    return this.#nodes.get(path);
  }

  override set(path: string, node: Node | null): void {
    if (node === null) this.#nodes.delete(path);
    else this.#nodes.set(path, node);
  }

  override changed(change: Change): void {
    this.#onChange(change);
  }

  override nextGeneration(): number {
    this.#generation += 1;
    return this.#generation;
  }
}

export class Transaction extends Nodes {
  readonly #tree: StoreTree;
  /** Nodes that were looked at, as they were then. */
  readonly #seen = new Map<string, Node | undefined>();
  readonly #own = new Map<string, Node | null>();
  readonly #changes: Change[] = [];

  constructor(tree: StoreTree) {
    super();
    this.#tree = tree;
  }

  /** Throws EAGAIN where a node that was looked at is another now; nothing has happened then. */
  commit(): void {
    for (const [path, node] of this.#seen) if (this.#tree.get(path) !== node) throw new StoreError("EAGAIN");
    for (const [path, node] of this.#own) this.#tree.set(path, node);
    for (const change of this.#changes) this.#tree.changed(change);
  }

  override get(path: string): Node | undefined {
    const own = this.#own.get(path);
    if (own !== undefined) return own ?? undefined;
    if (!this.#seen.has(path)) this.#seen.set(path, this.#tree.get(path));
    return this.#seen.get(path);
  }

  override set(path: string, node: Node | null): void {
    this.#own.set(path, node);
  }

  override changed(change: Change): void {
    if (!this.#changes.some(({ path }) => path === change.path)) this.#changes.push(change);
  }

  override nextGeneration(): number {
    return this.#tree.nextGeneration();
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

/** What stands before the names of its children. */
function prefixOf(path: string): string {
  return path === "/" ? "/" : `${path}/`;
}
