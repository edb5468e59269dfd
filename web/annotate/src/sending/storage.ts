/** Unsaved strokes in IndexedDB, where they outlive the page. */

import type { Pending } from "./queue";

const STORE = "unsaved";

interface Kept {
  readonly id: string;
  readonly annotator: string;
  readonly order: number;
  readonly entry: Pending;
}

export class StrokeStorage {
  private readonly database: Promise<IDBDatabase>;
  private order = Date.now();

  constructor(private readonly annotator: string) {
    this.database = new Promise((resolve, reject) => {
      const request = indexedDB.open("histosynth-annotate", 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error ?? new Error("no storage"));
    });
    this.database.catch(() => undefined);
  }

  async put(entry: Pending): Promise<void> {
    const kept: Kept = { id: entry.id, annotator: this.annotator, order: this.order++, entry };
    await this.run("readwrite", (store) => store.put(kept));
  }

  async remove(id: string): Promise<void> {
    await this.run("readwrite", (store) => store.delete(id));
  }

  /** Return the strokes of this annotator, in order. */
  async all(): Promise<Pending[]> {
    const kept = (await this.run("readonly", (store) => store.getAll())) as Kept[];
    return kept
      .filter((one) => one.annotator === this.annotator)
      .sort((a, b) => a.order - b.order)
      .map((one) => one.entry);
  }

  private async run<T>(mode: IDBTransactionMode, action: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const database = await this.database;
    return new Promise((resolve, reject) => {
      const request = action(database.transaction(STORE, mode).objectStore(STORE));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error ?? new Error("storage failed"));
    });
  }
}
