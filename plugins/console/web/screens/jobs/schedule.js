/** Schedules of crons in plain words. */

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

const isNumber = (text) => /^\d+$/.test(text);
/** The number of a step such as that of every five minutes; undefined for another text. */
const readStep = (text) => /^\*\/(\d+)$/.exec(text)?.[1];

/** The common schedules as a sentence; others are shown as they are written. */
export function writeSchedule(schedule) {
  const parts = schedule.trim().split(/\s+/);
  if (parts.length !== 5) return schedule;
  const [minute, hour, day, month, weekday] = parts;
  const isEveryDay = day === '*' && month === '*' && weekday === '*';
  if (isEveryDay) return writeDaily(minute, hour) ?? schedule;
  const hasTime = isNumber(minute) && isNumber(hour);
  if (!hasTime) return schedule;
  const time = writeTime(hour, minute);
  const isWeekly = day === '*' && month === '*';
  if (isWeekly && weekday === '1-5') return `on weekdays at ${time}`;
  if (isWeekly && isNumber(weekday)) return `every ${DAYS[Number(weekday) % 7]} at ${time}`;
  const isMonthly = isNumber(day) && month === '*' && weekday === '*';
  return isMonthly ? `on day ${day} of each month at ${time}` : schedule;
}

const writeTime = (hour, minute) => `${hour.padStart(2, '0')}:${minute.padStart(2, '0')}`;

/** A schedule of every day; undefined for one that has no short sentence. */
function writeDaily(minute, hour) {
  if (hour === '*') {
    if (minute === '*') return 'every minute';
    if (readStep(minute)) return `every ${readStep(minute)} minutes`;
    return isNumber(minute) ? `every hour at minute ${minute}` : undefined;
  }
  if (!isNumber(minute)) return undefined;
  if (readStep(hour)) return `every ${readStep(hour)} hours at minute ${minute}`;
  return isNumber(hour) ? `every day at ${writeTime(hour, minute)}` : undefined;
}
