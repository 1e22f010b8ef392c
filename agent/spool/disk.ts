// What the spool needs of a disk: one directory of files, and a say on when they are safe. agent/host/disk.ts is the real one; tests crash others.

/** Every method rejects with the error of the system (`code` ENOSPC, EIO …); what was asked for may then be done in part. */
export interface Disk {
  /** Names and sizes in bytes of the files, in no order. */
  list(): Promise<readonly { readonly name: string; readonly bytes: number }[]>;
  read(name: string): Promise<Buffer>;
  /** Writes behind the end of a file, which is made when it is not there. Not safe before `sync`. */
  append(name: string, content: Buffer): Promise<void>;
  /** Resolves when the content of a file would outlive a loss of power (fdatasync); its name does only after `syncDirectory`. */
  sync(name: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** A file that is not there is no error. */
  remove(name: string): Promise<void>;
  /** Resolves when new names, renamings and removals would outlive a loss of power. */
  syncDirectory(): Promise<void>;
}
