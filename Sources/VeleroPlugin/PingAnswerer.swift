internal import NIOCore
internal import PluginHost

/// Puts a `PingScanner` between a connection and its HTTP/2 implementation.
///
/// Used on the connection's event loop only, as all channel handlers are.
final class PingAnswerer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var scanner = PingScanner()

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = unwrapInboundIn(data)
        var passed: [UInt8] = []
        passed.reserveCapacity(buffer.readableBytes)
        var answers: [UInt8] = []
        buffer.withUnsafeReadableBytes { bytes in
            scanner.scan(bytes.bindMemory(to: UInt8.self).span, passed: &passed, answers: &answers)
        }
        if !answers.isEmpty {
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: answers)), promise: nil)
        }
        if !passed.isEmpty {
            context.fireChannelRead(wrapInboundOut(ByteBuffer(bytes: passed)))
        }
    }
}
