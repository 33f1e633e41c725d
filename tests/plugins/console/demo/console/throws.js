export default function Throws() {
  throw new Error('the sky fell');
}
