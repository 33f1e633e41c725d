export default function Loops() {
  for (;;);
}
