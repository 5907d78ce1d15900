/// Opens one Zstandard frame, which need not say how much it holds, with the caller's library: no decompressor is written
/// twice. Nil when the bytes are not exactly one whole frame, or it holds more than so many bytes.
package typealias ZstdOpener = @Sendable (_ frame: [UInt8], _ mostBytes: Int) -> [UInt8]?
