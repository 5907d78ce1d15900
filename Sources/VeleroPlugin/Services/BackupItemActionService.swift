internal import FoundationEssentials
internal import GRPCCore
internal import SwiftProtobuf
internal import Velero
internal import VeleroProtocol

/// Velero's BackupItemAction, version 2.
struct BackupItemActionService: V2_BackupItemAction.SimpleServiceProtocol {
    let actions: [any BackupItemAction]

    private func action(_ name: String) throws(VeleroError) -> any BackupItemAction {
        try PluginRegistry.find(name, in: actions) { $0.name }
    }

    func appliesTo(
        request: V2_BackupItemActionAppliesToRequest, context: ServerContext
    ) async throws -> V2_BackupItemActionAppliesToResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = V2_BackupItemActionAppliesToResponse()
            response.resourceSelector = Generated_ResourceSelector(try await action(request.plugin).appliesTo())
            return response
        }
    }

    func execute(request: V2_ExecuteRequest, context: ServerContext) async throws -> V2_ExecuteResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            let action = try action(request.plugin)
            guard request.item.count <= ActionItem.maximumBytes else {
                var response = V2_ExecuteResponse()
                response.item = request.item
                return response
            }
            let outcome = try await action.execute(
                item: request.item.bytes, backup: request.backup.bytes)
            var response = V2_ExecuteResponse()
            response.item = Data(outcome.item)
            response.additionalItems = outcome.additionalItems.map(Generated_ResourceIdentifier.init)
            response.operationID = outcome.operation ?? ""
            response.postOperationItems = outcome.postOperationItems.map(Generated_ResourceIdentifier.init)
            return response
        }
    }

    func progress(
        request: V2_BackupItemActionProgressRequest, context: ServerContext
    ) async throws -> V2_BackupItemActionProgressResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            let status = try await action(request.plugin).progress(
                operation: request.operationID, backup: request.backup.bytes)
            var response = V2_BackupItemActionProgressResponse()
            // Never left out: Velero's server follows it unasked.
            response.progress = Generated_OperationProgress(status)
            return response
        }
    }

    func cancel(
        request: V2_BackupItemActionCancelRequest, context: ServerContext
    ) async throws -> Google_Protobuf_Empty {
        try await RPCFailure.mapping(plugin: request.plugin) {
            try await action(request.plugin).cancel(operation: request.operationID, backup: request.backup.bytes)
            return Google_Protobuf_Empty()
        }
    }
}
