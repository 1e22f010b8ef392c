// Values of rules where they stand in the text: the frequent forms are read from the bytes, so that no string is made for them.
import { colon, quote, zero } from './iptables.bytes.ts';

/** Where a value stands, without its quotes. Numbers are read as -1 where the value has another form than the one asked for. */
export class Place {
  bytes: Buffer;
  start: number;
  end: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  get text(): string {
    return this.bytes.toString('utf8', this.start, this.end);
  }

  isText(text: string): boolean {
    const { bytes, start } = this;
    if (this.end - start !== text.length) return false;
    for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false;
    return true;
  }

  /** `!` outside quotes turns the word behind it around, and is no value. */
  get isBang(): boolean {
    return this.end - this.start === 1 && this.bytes[this.start] === bang && this.bytes[this.start - 1] !== quote;
  }

  /** `10.0.0.1/32`. */
  get host(): number {
    const { bytes, end } = this;
    const isHost = end - this.start > 3 && bytes[end - 3] === slash && bytes[end - 2] === zero + 3 && bytes[end - 1] === zero + 2;
    return isHost ? this.#address(end - 3) : -1;
  }

  /** `0` to `65535`. */
  get port(): number {
    return this.#port(this.start);
  }

  /** `10.0.0.1:80`. */
  get endpoint(): { readonly address: number; readonly port: number } | undefined {
    let at = this.end;
    while (at > this.start && this.bytes[at - 1] !== colon) at--;
    if (at === this.start) return undefined;
    const [address, port] = [this.#address(at - 1), this.#port(at)];
    return address < 0 || port < 0 ? undefined : { address, port };
  }

  /** `0.33333333349`, up to 1. */
  get chance(): number {
    const { bytes, start, end } = this;
    const places = end - start - 2;
    if (places < 1 || bytes[start + 1] !== dot) return -1;
    if (places >= powersOfTen.length) return /^[01]\.\d+$/.test(this.text) && Number(this.text) <= 1 ? Number(this.text) : -1;
    const whole = (bytes[start] as number) - zero;
    let digits = whole;
    for (let at = start + 2; at < end; at++) {
      const digit = (bytes[at] as number) - zero;
      if (digit < 0 || digit > 9) return -1;
      digits = digits * 10 + digit;
    }
    // Both are exact, so that their quotient is the number nearest to the text's.
    const chance = digits / (powersOfTen[places] as number);
    return (whole === 0 || whole === 1) && chance <= 1 ? chance : -1;
  }

  #port(start: number): number {
    const { bytes, end } = this;
    if (end === start || end - start > 5) return -1;
    let port = 0;
    for (let at = start; at < end; at++) {
      const digit = (bytes[at] as number) - zero;
      if (digit < 0 || digit > 9) return -1;
      port = port * 10 + digit;
    }
    return port <= 65535 ? port : -1;
  }

  #address(end: number): number {
    const { bytes, start } = this;
    let [address, part, digits, parts] = [0, 0, 0, 0];
    for (let at = start; at <= end; at++) {
      const code = at === end ? dot : (bytes[at] as number);
      if (code >= zero && code <= zero + 9) {
        part = part * 10 + code - zero;
        digits++;
      } else {
        if (code !== dot || digits === 0 || digits > 3 || part > 255 || ++parts > 4) return -1;
        address = address * 256 + part;
        part = 0;
        digits = 0;
      }
    }
    return parts === 4 ? address : -1;
  }
}

const bang = 33;
const dot = 46;
const slash = 47;

/** As far as they, and as many digits, are exact. */
const powersOfTen: readonly number[] = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
