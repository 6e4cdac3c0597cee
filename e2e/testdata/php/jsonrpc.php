<?php
// Asked by JSON-RPC 2.0: the answer carries the request's own id.
$request = json_decode(file_get_contents('php://input'), true);
$answer = ['jsonrpc' => '2.0', 'id' => $request['id'] ?? null];

if (($request['jsonrpc'] ?? '') !== '2.0' || ($request['method'] ?? '') !== 'route') {
    $answer['error'] = ['code' => -32600, 'message' => 'want the method route of JSON-RPC 2.0'];
} elseif (($request['params']['insertionType'] ?? '') === 'dynamic') {
    $answer['result'] = ['dst_phone' => 380443334455];
} else {
    $answer['result'] = ['schema' => 26076];
}

header('Content-Type: application/json');
echo json_encode($answer);
