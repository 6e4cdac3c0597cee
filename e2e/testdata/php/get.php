<?php
// Asked with GET: the parameters stand in the query. As in the documented example, nothing is said
// about the answer's type, and PHP calls it HTML.
if (($_GET['insertionType'] ?? '') === 'dynamic') {
    echo '{"dst_phone":380443334455}';
} else {
    echo '{"schema":26076}';
}
