// What a test waits for: a predicate, or a pattern of which every member must be found in the value.

/** True when `value` fits `pattern`: functions are asked, regular expressions tested, objects compared by their members. */
export function fits(value, pattern) {
  if (typeof pattern === 'function') return Boolean(pattern(value))
  if (pattern instanceof RegExp) return typeof value === 'string' && pattern.test(value)
  if (Array.isArray(pattern)) {
    return Array.isArray(value) && value.length === pattern.length && pattern.every((p, i) => fits(value[i], p))
  }
  if (pattern !== null && typeof pattern === 'object') {
    if (value === null || typeof value !== 'object') return false
    return Object.entries(pattern).every(([key, p]) => fits(value[key], p))
  }
  return Object.is(value, pattern)
}

/** One line that shows a pattern or a value in a failure message. */
export function show(value, limit = 400) {
  const text = typeof value === 'function' ? String(value).replace(/\s+/g, ' ') : JSON.stringify(value, readable)
  return text === undefined ? 'undefined' : text.length > limit ? `${text.slice(0, limit)}…` : text
}

function readable(_key, value) {
  if (value instanceof RegExp) return String(value)
  if (typeof value === 'function') return `(${String(value).replace(/\s+/g, ' ')})`
  if (value?.type === 'Buffer' && Array.isArray(value.data)) return `<${value.data.length} bytes>`
  return value
}
