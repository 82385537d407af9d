// Places buffers in a range of addresses that can grow at its end. Bookkeeping only: it touches no memory.
// Segregated free lists (four classes per power of two); neighbours that are free are joined at once.

/** A piece of the range. Opaque outside the allocator except for its place. */
export interface Block {
  readonly address: number;
  readonly bytes: number;
}

interface Node extends Block {
  address: number;
  bytes: number;
  free: boolean;
  /** Neighbours by address. */
  before: Node | undefined;
  after: Node | undefined;
  /** Neighbours in the free list. */
  prev: Node | undefined;
  next: Node | undefined;
}

const ALIGN = 64;
const CLASSES = 4 * 33;

/** The free list whose blocks are all at least as large as `classFloor` of it. */
function classOf(units: number): number {
  const log = 31 - Math.clz32(units);
  return log < 2 ? units : 4 * log + ((units >>> (log - 2)) & 3);
}

export class Allocator {
  /** Bytes in use. */
  used = 0;
  private readonly lists: (Node | undefined)[] = new Array(CLASSES);
  private last: Node | undefined;

  /** Manages [start, end); both become multiples of 64. */
  constructor(
    private readonly start: number,
    private end: number,
  ) {
    this.start = Math.ceil(start / ALIGN) * ALIGN;
    this.end = this.start;
    this.extend(end);
  }

  /** Makes the range end at `end`. */
  extend(end: number): void {
    const bytes = Math.floor(end / ALIGN) * ALIGN - this.end;
    if (bytes <= 0) return;
    const node: Node = {
      address: this.end,
      bytes,
      free: false,
      before: this.last,
      after: undefined,
      prev: undefined,
      next: undefined,
    };
    if (this.last) this.last.after = node;
    this.last = node;
    this.end += bytes;
    this.used += bytes;
    this.free(node);
  }

  /** Bytes that lie free at the end: growing by the rest makes room for a request. */
  get freeAtEnd(): number {
    return this.last?.free ? this.last.bytes : 0;
  }

  /** A block of at least `bytes`, 64-byte aligned; undefined if there is no room. */
  allocate(bytes: number): Block | undefined {
    const size = Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
    const first = classOf(size / ALIGN);
    for (let k = first; k < CLASSES; k++)
      for (let node = this.lists[k]; node; node = node.next)
        if (node.bytes >= size) {
          this.unlink(node);
          node.free = false;
          this.split(node, size);
          this.used += node.bytes;
          return node;
        }
    return undefined;
  }

  /** Gives a block back. */
  free(block: Block): void {
    let node = block as Node;
    if (node.free) throw new Error("a block was freed twice");
    this.used -= node.bytes;
    node.free = true;
    const { before, after } = node;
    if (after?.free) {
      this.unlink(after);
      this.join(node, after);
    }
    if (before?.free) {
      this.unlink(before);
      this.join(before, node);
      node = before;
    }
    const k = classOf(node.bytes / ALIGN);
    const head = this.lists[k];
    node.prev = undefined;
    node.next = head;
    if (head) head.prev = node;
    this.lists[k] = node;
  }

  private split(node: Node, size: number): void {
    const rest = node.bytes - size;
    if (rest === 0) return;
    const tail: Node = {
      address: node.address + size,
      bytes: rest,
      free: false,
      before: node,
      after: node.after,
      prev: undefined,
      next: undefined,
    };
    if (node.after) node.after.before = tail;
    else this.last = tail;
    node.after = tail;
    node.bytes = size;
    this.used += rest;
    this.free(tail);
  }

  /** `b` follows `a` and goes away. */
  private join(a: Node, b: Node): void {
    a.bytes += b.bytes;
    a.after = b.after;
    if (b.after) b.after.before = a;
    else this.last = a;
  }

  private unlink(node: Node): void {
    if (node.prev) node.prev.next = node.next;
    else this.lists[classOf(node.bytes / ALIGN)] = node.next;
    if (node.next) node.next.prev = node.prev;
    node.prev = undefined;
    node.next = undefined;
  }
}
