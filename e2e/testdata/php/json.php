<?php
// Asked with a POST whose body is JSON, which PHP leaves to the handler to read.
$question = json_decode(file_get_contents('php://input'), true);
$dynamic = is_array($question) && ($question['insertionType'] ?? '') === 'dynamic';

header('Content-Type: application/json');
echo json_encode($dynamic ? ['dst_phone' => 380443334455] : ['schema' => 26076]);
