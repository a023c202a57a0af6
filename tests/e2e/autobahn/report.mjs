// Reads the index.json of an Autobahn|Testsuite run: `report.mjs INDEX [INDEX…]`. Exits 1 on any case that failed, and on an empty run.
import {readFileSync} from 'node:fs'

const GOOD = new Set(['OK', 'NON-STRICT', 'INFORMATIONAL'])
// Every case of 1–7, 9 and 10, as the suite's version 25.10.1 numbers them.
const EXPECTED = 301

let failed = 0
for (const file of process.argv.slice(2)) {
  for (const [agent, cases] of Object.entries(JSON.parse(readFileSync(file)))) {
    const counts = {}
    const bad = []
    for (const [id, result] of Object.entries(cases)) {
      // The closing handshake counts as much as the messages.
      const verdict = GOOD.has(result.behavior) ? result.behaviorClose : result.behavior
      counts[result.behavior] = (counts[result.behavior] ?? 0) + 1
      if (!GOOD.has(verdict)) bad.push({id, ...result})
    }
    const total = Object.keys(cases).length
    const summary = Object.entries(counts).map(([behavior, count]) => `${count} ${behavior}`).join(', ')
    console.log(`${agent}: ${total} cases: ${summary}`)
    for (const {id, behavior, behaviorClose, remoteCloseCode, reportfile} of bad) {
      console.log(`  ✖ ${id}: ${behavior}, close ${behaviorClose} (code ${remoteCloseCode}); see ${reportfile}`)
    }
    const missing = Math.max(0, EXPECTED - total)
    if (missing > 0) console.log(`  ✖ ${missing} of ${EXPECTED} cases did not run`)
    console.log(`${agent}: ${total - bad.length} passed, ${bad.length + missing} failed`)
    failed += bad.length + missing
  }
}
process.exit(failed > 0 ? 1 : 0)
