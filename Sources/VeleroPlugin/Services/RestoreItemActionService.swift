internal import FoundationEssentials
internal import GRPCCore
internal import SwiftProtobuf
internal import Velero
internal import VeleroProtocol

/// Velero's RestoreItemAction, version 2.
struct RestoreItemActionService: V2_RestoreItemAction.SimpleServiceProtocol {
    let actions: [any RestoreItemAction]

    private func action(_ name: String) throws(VeleroError) -> any RestoreItemAction {
        try PluginRegistry.find(name, in: actions) { $0.name }
    }

    func appliesTo(
        request: V2_RestoreItemActionAppliesToRequest, context: ServerContext
    ) async throws -> V2_RestoreItemActionAppliesToResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = V2_RestoreItemActionAppliesToResponse()
            response.resourceSelector = Generated_ResourceSelector(try await action(request.plugin).appliesTo())
            return response
        }
    }

    func execute(
        request: V2_RestoreItemActionExecuteRequest, context: ServerContext
    ) async throws -> V2_RestoreItemActionExecuteResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            let action = try action(request.plugin)
            guard max(request.item.count, request.itemFromBackup.count) <= ActionItem.maximumBytes else {
                var response = V2_RestoreItemActionExecuteResponse()
                response.item = request.item
                return response
            }
            let outcome = try await action.execute(
                item: request.item.bytes, original: request.itemFromBackup.bytes, restore: request.restore.bytes)
            var response = V2_RestoreItemActionExecuteResponse()
            response.item = Data(outcome.item)
            response.additionalItems = outcome.additionalItems.map(Generated_ResourceIdentifier.init)
            response.skipRestore = outcome.isSkipped
            response.operationID = outcome.operation ?? ""
            response.waitForAdditionalItems = outcome.waitsForAdditionalItems
            if let seconds = outcome.waitSeconds {
                response.additionalItemsReadyTimeout = Google_Protobuf_Duration(seconds: Int64(seconds))
            }
            return response
        }
    }

    func progress(
        request: V2_RestoreItemActionProgressRequest, context: ServerContext
    ) async throws -> V2_RestoreItemActionProgressResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            let status = try await action(request.plugin).progress(
                operation: request.operationID, restore: request.restore.bytes)
            var response = V2_RestoreItemActionProgressResponse()
            response.progress = Generated_OperationProgress(status)
            return response
        }
    }

    func cancel(
        request: V2_RestoreItemActionCancelRequest, context: ServerContext
    ) async throws -> Google_Protobuf_Empty {
        try await RPCFailure.mapping(plugin: request.plugin) {
            try await action(request.plugin).cancel(operation: request.operationID, restore: request.restore.bytes)
            return Google_Protobuf_Empty()
        }
    }

    func areAdditionalItemsReady(
        request: V2_RestoreItemActionItemsReadyRequest, context: ServerContext
    ) async throws -> V2_RestoreItemActionItemsReadyResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = V2_RestoreItemActionItemsReadyResponse()
            response.ready = try await action(request.plugin).areReady(
                request.additionalItems.map(\.domain), restore: request.restore.bytes)
            return response
        }
    }
}
