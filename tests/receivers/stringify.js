// The oracle of ecmajson: for each line, a JSON string that holds a document, answers with one line:
// the JSON string of JSON.stringify(JSON.parse(document)), or null where that throws. Ends when its stdin does.
'use strict';
const readline = require('readline');

function rewritten(text) {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return null;
  }
}

readline
  .createInterface({ input: process.stdin, crlfDelay: Infinity })
  .on('line', (line) => process.stdout.write(`${JSON.stringify(rewritten(JSON.parse(line)))}\n`));
