type Inflate = (raw: Uint8Array) => Promise<Uint8Array> | Uint8Array;
interface ZipItem {
  filename: string;
  comment: string;
  read: () => Promise<Uint8Array> | Uint8Array;
}
export function iter(raw: Uint8Array, inflate?: Inflate): Generator<ZipItem, void, void>;
export function unzip(raw: Uint8Array, inflate?: Inflate): ZipItem[];
