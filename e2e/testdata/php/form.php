<?php
// Asked with a POST form.
if (($_POST['insertionType'] ?? '') === 'dynamic') {
    echo '{"dst_phone":380443334455}';
} else {
    echo '{"schema":26076}';
}
