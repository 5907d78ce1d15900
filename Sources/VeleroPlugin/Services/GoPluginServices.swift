internal import GRPCCore
internal import SwiftProtobuf
internal import VeleroProtocol

/// Health as go-plugin asks for it: of the service `plugin`.
struct HealthService: Grpc_Health_V1_Health.SimpleServiceProtocol {
    private static func answer(_ service: String) -> Grpc_Health_V1_HealthCheckResponse {
        var response = Grpc_Health_V1_HealthCheckResponse()
        response.status = service == "plugin" || service.isEmpty ? .serving : .serviceUnknown
        return response
    }

    func check(
        request: Grpc_Health_V1_HealthCheckRequest, context: ServerContext
    ) async throws -> Grpc_Health_V1_HealthCheckResponse {
        let response = Self.answer(request.service)
        guard response.status == .serving else {
            throw RPCError(code: .notFound, message: "there is no service '\(request.service)' here: ask for 'plugin'")
        }
        return response
    }

    func watch(
        request: Grpc_Health_V1_HealthCheckRequest, response: RPCWriter<Grpc_Health_V1_HealthCheckResponse>,
        context: ServerContext
    ) async throws {
        try await response.write(Self.answer(request.service))
        try await context.cancellation.cancelled
    }
}

/// Ends the process when the host asks for it: the answer goes out first.
struct ControllerService: Plugin_GRPCController.SimpleServiceProtocol {
    let stop: @Sendable () -> Void

    func shutdown(request: Plugin_Empty, context: ServerContext) async throws -> Plugin_Empty {
        stop()
        return Plugin_Empty()
    }
}

/// go-plugin's broker, which Velero opens and never uses: held open until the host lets go.
struct BrokerService: Plugin_GRPCBroker.SimpleServiceProtocol {
    func startStream(
        request: RPCAsyncSequence<Plugin_ConnInfo, any Error>, response: RPCWriter<Plugin_ConnInfo>,
        context: ServerContext
    ) async throws {
        for try await _ in request {}
    }
}

/// What the plugin would print: nothing. Held open until the host lets go.
struct StdioService: Plugin_GRPCStdio.SimpleServiceProtocol {
    func streamStdio(
        request: Google_Protobuf_Empty, response: RPCWriter<Plugin_StdioData>, context: ServerContext
    ) async throws {
        try await context.cancellation.cancelled
    }
}
